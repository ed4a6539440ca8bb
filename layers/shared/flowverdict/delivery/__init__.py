"""Render notifications for people and machines, publish them to SNS and post them to webhooks."""
