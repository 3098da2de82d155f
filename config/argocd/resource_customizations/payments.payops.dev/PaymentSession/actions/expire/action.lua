-- What is expired cannot be made active again: Git should say the same before it is synchronized next.
obj.spec.desiredState = "expired"
return obj
