"""One link of a chain as its process sees it: its record, its stop requests, its watchdog."""
