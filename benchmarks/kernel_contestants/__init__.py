"""Everything that the kernel benchmark runs: recurra and what it is measured against, one file each."""
