"""The builders of images that come with Trellis: diskimage-builder, and files built elsewhere.

Each is registered by the hook that plugins have (`trellis.builders.plugin`).
"""
