"""Trellis on Rackspace: classic Cloud Servers, and Flex."""
