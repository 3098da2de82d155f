-- Requests one refresh from the provider, now.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["payments.payops.dev/reconcile-at"] = os.date("!%Y-%m-%dT%XZ")
return obj
