"""What is measured: rankings, answers, recognition, and how sure the figures are."""
