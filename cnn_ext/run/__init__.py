"""Whoever turns a graph into calls of kernels: batches, single images, programs, plans."""
