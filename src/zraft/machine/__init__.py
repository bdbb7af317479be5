"""State machines: what a backend is, the backends "dict" and "table", and which backends a node knows.

Relies on `wire.values` for what a value may be. Guarantees nothing about order or durability: whoever drives a backend
(`session`) hands it committed commands only, each once, in log order.
"""
