"""What is noticed beside the values: deaths, doubles, wrong clocks, gaps and their accounts."""
