"""Domain values to messages and back; nothing else knows both."""
