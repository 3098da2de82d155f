-- The health of all four kinds, by their conditions: Stalled needs a person, Reconciling goes on by itself, Ready is as the spec
-- wants it. Conditions that speak of an older spec count for nothing.
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
local message = "Waiting for the operator to look at it."
if ready ~= nil and ready.message ~= nil then
  message = ready.message
end

if obj.metadata.deletionTimestamp ~= nil then
  -- Where the deletion waits for a person, the message says how to end that.
  if stalled ~= nil and stalled.status == "True" then
    return {status = "Degraded", message = message}
  end
  return {status = "Progressing", message = message}
end
if ready == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "Waiting for the operator to look at it."}
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
