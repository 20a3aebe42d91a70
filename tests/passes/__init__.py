"""What each pass of the compiler makes of a small step, as text."""
