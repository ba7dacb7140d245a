"""The figures and tables of
Noisy Collaboration in Knowledge Distillation."""
