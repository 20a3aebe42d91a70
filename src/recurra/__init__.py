"""recurra: write a recurrent cell once; it runs, learns, streams and fits any topology."""
