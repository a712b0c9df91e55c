"""A fault laboratory in rootless network namespaces."""
