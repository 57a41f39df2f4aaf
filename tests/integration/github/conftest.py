from tests.github_double.fixtures import clock, connected, ghspec, hub, loopback_only

__all__ = ["clock", "connected", "ghspec", "hub", "loopback_only"]
