"""How the kernel benchmark measures, what it must reach, and how it is written down."""
