"""Readers of public traces in their original formats, a module per source; `convert` turns them into ours."""
