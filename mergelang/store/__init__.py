"""What is remembered between runs: digests of files, intermediate results, the state of outputs."""
