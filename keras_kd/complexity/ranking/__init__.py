"""Which teacher for this student: the comparison and its report."""
