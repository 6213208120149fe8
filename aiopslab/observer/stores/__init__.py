"""What exporters beside the data stores would tell, asked of the real stores.

``asking`` knows which pods are stores and how to log in; its neighbours know one kind each. Names
and labels are those of the simulated world (``world.images``).
"""
