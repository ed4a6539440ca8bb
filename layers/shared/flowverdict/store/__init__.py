"""Where alerts are remembered: DynamoDB, and a stand-in in memory for tests."""
