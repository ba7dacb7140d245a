"""Sweeps: reading their files, planning and running them on Ray, evaluating what they trained."""
