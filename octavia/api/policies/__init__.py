# SPDX-License-Identifier: Apache-2.0
"""Who may do what: oslo.policy's rules (contract: api.md section 20, control-plane.md section 13).

* :mod:`octavia.api.policies.roles`: what callers are, as rules that other rules refer to.
* :mod:`octavia.api.policies.calls`: a rule a call of the API.
* :mod:`octavia.api.policies.policy`: decides.

Handlers name a rule without the prefix, like ``listener:put``. Where everybody is admin nothing of this is
imported, so it is not done here.
"""
