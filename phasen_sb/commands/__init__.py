"""The subcommands of the console command ``phasen``.

Each module has ``add_arguments(parser)``, which declares the options, and
``run(arguments)``, which carries the command out and raises
:class:`phasen_sb.errors.UserError`. What loads slowly, such as torch, is
imported within ``run``, so that help and wrong options are answered at once.
"""
