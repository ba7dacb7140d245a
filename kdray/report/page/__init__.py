"""What stands on the page of ``kdray report``: each module makes one part of it from the tables, as
plain values."""
