"""What is said of figures and signs in German, French, Spanish and Chinese."""
