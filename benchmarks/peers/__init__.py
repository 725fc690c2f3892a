"""What people would use instead of rung, on the same images, cores and time. See README.md."""
