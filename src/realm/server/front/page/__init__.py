"""The page at `/`: a chat for tenants and a view for administrators, from this server alone."""
