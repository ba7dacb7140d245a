"""The figures and tables of
Robust Student Network Learning."""
