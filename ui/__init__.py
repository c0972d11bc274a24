"""The dashboard: Streamlit over the control API. It speaks HTTP only and imports no agent."""
