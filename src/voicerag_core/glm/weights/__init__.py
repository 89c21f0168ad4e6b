"""The weights of GLM-4-Voice on disk: found, checked, mapped to our names, converted."""
