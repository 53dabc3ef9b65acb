local suspended = obj.spec.suspend == true
local actions = {}
-- A suspended connection handles requests only when it is resumed.
actions["reconcile"] = {["disabled"] = suspended}
-- Only a connection that issues its own key can rotate it.
local existing = obj.spec.credentials ~= nil and obj.spec.credentials.source == "Existing"
actions["rotate"] = {["disabled"] = suspended or existing}
actions["suspend"] = {["disabled"] = suspended}
actions["resume"] = {["disabled"] = not suspended}
return actions
