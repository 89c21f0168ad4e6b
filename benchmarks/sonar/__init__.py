"""SONAR's encoders compared with transformers and with the fairseq2 package."""
