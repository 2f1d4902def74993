"""The Generate call: from the request to the stream of answers."""
