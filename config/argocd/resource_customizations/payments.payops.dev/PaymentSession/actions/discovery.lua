local closed = false
if obj.status ~= nil then
  local state = obj.status.state
  closed = state == "expired" or state == "completed" or state == "failed"
end
return {
  ["expire"] = {disabled = closed or obj.spec.desiredState == "expired"},
  ["reconcile"] = {disabled = obj.metadata.deletionTimestamp ~= nil}
}
