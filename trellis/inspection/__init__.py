"""Looking at a cloud through its plugin without changing anything: ``trellis plugin check``.

The plugin's own provider and session are asked, so that what is seen is what the daemon would
see. Nothing but the login is ever sent that is no question.
"""
