"""The Lambda functions, put together."""
