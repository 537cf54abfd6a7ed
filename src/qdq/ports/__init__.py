"""What the use cases ask of the outside; a Protocol's docstring is its adapters' contract."""
