-- desiredState cannot be changed back from expired: change it in Git, too, before the next sync.
obj.spec.desiredState = "expired"
return obj
