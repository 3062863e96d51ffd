"""Comparing what a batch says with what lies there, and mending what can be proven.

``finding`` has the kinds of oddities; ``look`` reads a batch once, in an order in which nothing that only moves on can
look odd; ``in_*`` compare, and write nothing; ``mend`` mends. Words for the user are in ``report/oddities``.
"""
