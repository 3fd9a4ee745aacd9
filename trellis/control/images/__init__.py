"""The images at work: builds on this host, uploads at each provider, and what is shown of them."""
