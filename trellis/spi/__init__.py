"""What a plugin sees: the provider and demand-source protocols, the hooks, the registries.

Knows the model and the errors, nothing else: no pluggy manager, no HTTP, no store.
"""
