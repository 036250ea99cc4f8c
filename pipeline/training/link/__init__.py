"""One link of a chain as its process sees it: its record, its end, its watchdog."""
