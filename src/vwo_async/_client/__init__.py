"""The client: it reads arguments, asks the core, and hands events to delivery."""
