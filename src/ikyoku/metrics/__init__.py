"""What is measured: plain arithmetic on values, one module per family of metrics."""
