"""The operator dashboard: Streamlit over the control API."""
