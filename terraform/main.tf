# The stack of flowverdict from a packaged template. Why the module is thin: docs/decisions/0022-terraform.md.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "template_url" {
  description = "Address of the packaged template in S3, such as https://BUCKET.s3.REGION.amazonaws.com/flowverdict/packaged.yaml"
  type        = string

  validation {
    condition     = startswith(var.template_url, "https://")
    error_message = "The template is too large to be given as text: give its https address in S3."
  }
}

variable "name" {
  description = "Name of the stack. A stack per account and Region is enough"
  type        = string
  default     = "flowverdict"
}

variable "parameters" {
  description = "Parameters of the stack by name (docs/reference/parameters.md); those that are left out have their defaults"
  type        = map(string)
  default     = {}
}

variable "tags" {
  description = "Tags of the stack, which CloudFormation passes on to its resources"
  type        = map(string)
  default     = {}
}

resource "aws_cloudformation_stack" "flowverdict" {
  name         = var.name
  template_url = var.template_url
  parameters   = var.parameters
  tags         = var.tags
  # Roles with names (RoleNamePrefix), and SAM's transform.
  capabilities = ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
}

output "outputs" {
  description = "Outputs of the stack by name, such as AlertTopicArn"
  value       = aws_cloudformation_stack.flowverdict.outputs
}
