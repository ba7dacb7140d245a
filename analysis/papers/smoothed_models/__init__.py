"""The figures and tables of
Knowledge Distillation via Smoothed Models and Adversarial Robustness."""
