-- Computes the health of all five kinds from their conditions: Stalled needs a person, Reconciling continues
-- automatically, Ready is in the state that the spec asks for. Conditions of an older generation are ignored.
-- https://argo-cd.readthedocs.io/en/stable/operator-manual/health/#custom-health-checks
local function condition(kind)
  if obj.status ~= nil and obj.status.conditions ~= nil then
    for _, found in ipairs(obj.status.conditions) do
      if found.type == kind then
        return found
      end
    end
  end
  return nil
end

local ready = condition("Ready")
local stalled = condition("Stalled")
local message = "Waiting for the operator to reconcile it."
if ready ~= nil and ready.message ~= nil then
  message = ready.message
end

if obj.metadata.deletionTimestamp ~= nil then
  -- If the deletion waits for a person, the message says what to do.
  if stalled ~= nil and stalled.status == "True" then
    return {status = "Degraded", message = message}
  end
  return {status = "Progressing", message = message}
end
if ready == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "Waiting for the operator to reconcile it."}
end
if stalled ~= nil and stalled.status == "True" then
  return {status = "Degraded", message = message}
end
if ready.reason == "Suspended" then
  return {status = "Suspended", message = message}
end
if ready.status == "True" then
  return {status = "Healthy", message = message}
end
return {status = "Progressing", message = message}
