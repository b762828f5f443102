"""The LSP side: one session per connection."""
