"""What a client sees: HTTP, jobs, options, and the composition of the other rooms."""
